# An upload that broke off, and versions nobody refers to, cost as much as weights in use.
resource "aws_s3_bucket_lifecycle_configuration" "models" {
  count = var.emulated ? 0 : 1

  bucket = aws_s3_bucket.models.id

  rule {
    id     = "abort-broken-uploads"
    status = "Enabled"

    filter {}

    abort_incomplete_multipart_upload {
      days_after_initiation = 3
    }
  }

  rule {
    id     = "expire-replaced-weights"
    status = "Enabled"

    filter {}

    noncurrent_version_expiration {
      noncurrent_days = 30
    }
  }

  depends_on = [aws_s3_bucket_versioning.models]
}
