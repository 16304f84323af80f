data "aws_acm_certificate" "domain" {
  count = try(var.router.tls.domain, null) != null ? 1 : 0

  domain      = var.router.tls.domain
  statuses    = ["ISSUED"]
  key_types   = ["RSA_2048", "RSA_3072", "RSA_4096", "EC_prime256v1", "EC_secp384r1"]
  most_recent = true
}

locals {
  certificate_arn = var.router.tls == null ? null : try(data.aws_acm_certificate.domain[0].arn, var.router.tls.certificate_arn)
}
