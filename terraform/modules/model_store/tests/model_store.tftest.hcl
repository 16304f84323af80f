mock_provider "aws" {
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{}" }
  }
}

variables {
  account_id  = "111122223333"
  environment = "prod"
  region      = "us-east-1"
}

run "the_bucket_is_private_encrypted_and_versioned" {
  command = apply

  assert {
    condition     = output.name == "sglctl-models-prod-111122223333-us-east-1"
    error_message = "The name follows the contract."
  }

  assert {
    condition     = aws_s3_bucket_public_access_block.models.block_public_acls && aws_s3_bucket_public_access_block.models.block_public_policy && aws_s3_bucket_public_access_block.models.ignore_public_acls && aws_s3_bucket_public_access_block.models.restrict_public_buckets
    error_message = "Nothing in it can be made public."
  }

  assert {
    condition     = one(aws_s3_bucket_server_side_encryption_configuration.models.rule).apply_server_side_encryption_by_default[0].sse_algorithm == "AES256" && aws_s3_bucket_versioning.models.versioning_configuration[0].status == "Enabled"
    error_message = "Encrypted and versioned."
  }

  assert {
    condition     = one(data.aws_iam_policy_document.tls_only.statement).effect == "Deny" && one(one(data.aws_iam_policy_document.tls_only.statement).condition).variable == "aws:SecureTransport"
    error_message = "Requests without TLS are denied."
  }

  assert {
    condition     = !aws_s3_bucket.models.force_destroy
    error_message = "Weights survive a destroy."
  }

  assert {
    condition     = length(aws_s3_bucket_lifecycle_configuration.models) == 1 && aws_s3_bucket_lifecycle_configuration.models[0].rule[0].abort_incomplete_multipart_upload[0].days_after_initiation == 3
    error_message = "Broken uploads are cleared."
  }
}

run "the_emulators_bucket_goes_with_its_content" {
  command = apply
  variables { emulated = true }

  assert {
    condition     = aws_s3_bucket.models.force_destroy && length(aws_s3_bucket_lifecycle_configuration.models) == 0
    error_message = "No lifecycle rules, and `destroy` leaves nothing."
  }
}

run "refuses_a_name_longer_than_s3_allows" {
  command = plan
  variables {
    environment = "production"
    region      = "us-somewhere-rather-far-away-1"
  }

  expect_failures = [var.region]
}
