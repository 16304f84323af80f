locals {
  name = "sglctl-state-${var.account_id}-${var.region}"
}

import {
  for_each = var.bucket_exists ? toset([local.name]) : toset([])
  to       = aws_s3_bucket.state
  id       = each.key
}

resource "aws_s3_bucket" "state" {
  bucket = local.name

  lifecycle {
    prevent_destroy = true # who loses it loses track of everything that runs
  }
}

resource "aws_s3_bucket_ownership_controls" "state" {
  bucket = aws_s3_bucket.state.id

  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_s3_bucket_public_access_block" "state" {
  bucket = aws_s3_bucket.state.id

  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_server_side_encryption_configuration" "state" {
  bucket = aws_s3_bucket.state.id

  rule {
    apply_server_side_encryption_by_default {
      sse_algorithm = "AES256"
    }
  }
}

resource "aws_s3_bucket_versioning" "state" {
  bucket = aws_s3_bucket.state.id

  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_lifecycle_configuration" "state" {
  count = var.emulated ? 0 : 1

  bucket = aws_s3_bucket.state.id

  rule {
    id     = "expire-old-states"
    status = "Enabled"

    filter {}

    noncurrent_version_expiration {
      newer_noncurrent_versions = 50
      noncurrent_days           = 180
    }
  }

  depends_on = [aws_s3_bucket_versioning.state]
}
