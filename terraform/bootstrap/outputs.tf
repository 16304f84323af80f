output "bucket" {
  description = "State bucket, for `terraform init -backend-config=bucket=…`."
  value       = aws_s3_bucket.state.bucket
}
