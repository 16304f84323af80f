"""AWS, through boto3: one place that makes sessions, thin adapters beside it."""
