mock_provider "aws" {}

variables {
  decode_security_group_id  = "sg-00000000000000001"
  prefill_security_group_id = "sg-00000000000000002"
}

run "each_half_accepts_the_other_and_nobody_else" {
  command = apply

  assert {
    condition     = aws_vpc_security_group_ingress_rule.from_decode.security_group_id == "sg-00000000000000002" && aws_vpc_security_group_ingress_rule.from_decode.referenced_security_group_id == "sg-00000000000000001"
    error_message = "Prefill workers accept decode workers."
  }

  assert {
    condition     = aws_vpc_security_group_ingress_rule.from_prefill.security_group_id == "sg-00000000000000001" && aws_vpc_security_group_ingress_rule.from_prefill.referenced_security_group_id == "sg-00000000000000002"
    error_message = "Decode workers accept prefill workers."
  }

  assert {
    condition     = aws_vpc_security_group_ingress_rule.from_decode.cidr_ipv4 == null && aws_vpc_security_group_ingress_rule.from_prefill.cidr_ipv4 == null
    error_message = "No range of addresses may connect."
  }
}

run "refuses_a_fleet_as_its_own_pair" {
  command = plan
  variables { prefill_security_group_id = "sg-00000000000000001" }

  expect_failures = [var.prefill_security_group_id]
}
