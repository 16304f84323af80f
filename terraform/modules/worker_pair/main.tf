# The halves of a pair meet at the bootstrap port, and move the KV cache over ports and protocols of
# the transfer engine's choice (EFA: all of them), in both directions.
# https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/efa-start.html#efa-start-security
resource "aws_vpc_security_group_ingress_rule" "from_decode" {
  security_group_id            = var.prefill_security_group_id
  referenced_security_group_id = var.decode_security_group_id
  ip_protocol                  = "-1"

  tags = { Name = "decode-to-prefill" }
}

resource "aws_vpc_security_group_ingress_rule" "from_prefill" {
  security_group_id            = var.decode_security_group_id
  referenced_security_group_id = var.prefill_security_group_id
  ip_protocol                  = "-1"

  tags = { Name = "prefill-to-decode" }
}
