output "rules" {
  description = "Ids of the rules that let the halves meet: from decode, from prefill."
  value       = [aws_vpc_security_group_ingress_rule.from_decode.id, aws_vpc_security_group_ingress_rule.from_prefill.id]
}
