output "arn" {
  description = "Bucket ARN, for the workers' policy."
  value       = aws_s3_bucket.models.arn
}

output "name" {
  description = "Bucket name."
  value       = aws_s3_bucket.models.bucket
}
