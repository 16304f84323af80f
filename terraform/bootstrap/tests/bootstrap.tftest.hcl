mock_provider "aws" {
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{}" }
  }
  mock_data "aws_partition" {
    defaults = { partition = "aws" }
  }
}

variables {
  account_id = "111122223333"
  region     = "us-east-1"
}

run "the_state_is_private_encrypted_and_versioned" {
  command = plan

  assert {
    condition     = output.bucket == "sglctl-state-111122223333-us-east-1"
    error_message = "The name follows the contract."
  }

  assert {
    condition     = aws_s3_bucket_public_access_block.state.block_public_acls && aws_s3_bucket_public_access_block.state.block_public_policy && aws_s3_bucket_public_access_block.state.ignore_public_acls && aws_s3_bucket_public_access_block.state.restrict_public_buckets
    error_message = "Nothing in it can be made public."
  }

  assert {
    condition     = one(aws_s3_bucket_server_side_encryption_configuration.state.rule).apply_server_side_encryption_by_default[0].sse_algorithm == "AES256" && aws_s3_bucket_versioning.state.versioning_configuration[0].status == "Enabled"
    error_message = "Encrypted and versioned."
  }

  assert {
    condition     = one(data.aws_iam_policy_document.tls_only.statement).effect == "Deny" && one(one(data.aws_iam_policy_document.tls_only.statement).condition).variable == "aws:SecureTransport"
    error_message = "Requests without TLS are denied."
  }
}

run "refuses_an_account_that_is_none" {
  command = plan
  variables { account_id = "1234" }

  expect_failures = [var.account_id]
}

run "refuses_a_region_that_is_none" {
  command = plan
  variables { region = "everywhere" }

  expect_failures = [var.region]
}
