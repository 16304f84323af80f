# The endpoint of the emulator comes from AWS_ENDPOINT_URL, never from a file.
provider "aws" {
  region              = var.region
  allowed_account_ids = var.account_id == null ? null : [var.account_id]

  s3_use_path_style           = var.emulated
  skip_credentials_validation = var.emulated
  skip_metadata_api_check     = var.emulated
  skip_requesting_account_id  = false # the account guard and the buckets' names need it

  default_tags {
    tags = merge(var.tags, { "sglctl:environment" = var.environment })
  }
}

data "aws_caller_identity" "current" {}

data "aws_partition" "current" {}
