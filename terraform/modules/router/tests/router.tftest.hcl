mock_provider "aws" {
  mock_data "aws_acm_certificate" {
    defaults = { arn = "arn:aws:acm:us-east-1:111122223333:certificate/of-the-domain" }
  }
  mock_data "aws_ami" {
    defaults = { root_device_name = "/dev/xvda", root_device_type = "ebs" }
  }
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{}" }
  }
  mock_resource "aws_iam_instance_profile" {
    defaults = { arn = "arn:aws:iam::111122223333:instance-profile/router" }
  }
  mock_resource "aws_launch_template" {
    defaults = { id = "lt-0123456789abcdef0", latest_version = 3 }
  }
  mock_resource "aws_lb" {
    defaults = { arn = "arn:aws:elasticloadbalancing:us-east-1:111122223333:loadbalancer/app/sgl-prod-router/1", dns_name = "lb.example.com" }
  }
  mock_resource "aws_lb_target_group" {
    defaults = { arn = "arn:aws:elasticloadbalancing:us-east-1:111122223333:targetgroup/sgl-prod-router/2" }
  }
  mock_resource "aws_secretsmanager_secret" {
    defaults = { arn = "arn:aws:secretsmanager:us-east-1:111122223333:secret:sglctl/prod/api-keys-abcdef" }
  }
}

override_resource {
  target = aws_secretsmanager_secret.admin_key
  values = { arn = "arn:aws:secretsmanager:us-east-1:111122223333:secret:sglctl/prod/admin-key-abcdef" }
}

variables {
  account_id         = "111122223333"
  environment        = "prod"
  log_group_arn      = "arn:aws:logs:us-east-1:111122223333:log-group:/sglctl/prod/router"
  private_subnet_ids = ["subnet-00000000000000001", "subnet-00000000000000002"]
  public_subnet_ids  = ["subnet-00000000000000003", "subnet-00000000000000004"]
  region             = "us-east-1"
  release            = "2026.11.1"
  tags               = { team = "ml" }
  vpc_id             = "vpc-00000000000000001"

  router = {
    image_id               = "ami-00000000000000001"
    instance_type          = "c7i.large"
    count                  = 2
    listener_port          = 443
    tls                    = { domain = "llm.example.com" }
    allowed_cidrs          = ["203.0.113.0/24"]
    admin_cidrs            = ["10.0.0.0/8"]
    idle_timeout_s         = 600
    deregistration_delay_s = 120
    document               = "{\"environment\": \"prod\", \"listen\": {\"port\": 8000, \"admin_port\": 8001}, \"keys\": {\"secret\": \"sglctl/prod/api-keys\"}}"
  }
}

run "names_follow_the_contract" {
  command = apply

  assert {
    condition     = toset([aws_autoscaling_group.routers.name, aws_launch_template.routers.name, aws_lb.router.name, aws_lb_target_group.router.name]) == toset(["sgl-prod-router"])
    error_message = "Group, template, load balancer and target group are called sgl-<env>-router."
  }

  assert {
    condition     = aws_ssm_parameter.router.name == "/sglctl/prod/router" && aws_ssm_parameter.router.insecure_value == var.router.document
    error_message = "The RouterDocument lies in its parameter."
  }

  assert {
    condition     = output.api_keys_secret == "sglctl/prod/api-keys" && output.admin_key_secret == "sglctl/prod/admin-key" && aws_secretsmanager_secret.api_keys.recovery_window_in_days == 7
    error_message = "The keys' secret has its name, and can be recovered for a week."
  }

  assert {
    condition     = output.url == "https://lb.example.com:443"
    error_message = "Clients call the load balancer over HTTPS."
  }
}

run "clients_speak_modern_tls_or_nothing" {
  command = apply

  assert {
    condition     = aws_lb_listener.router.protocol == "HTTPS" && aws_lb_listener.router.ssl_policy == "ELBSecurityPolicy-TLS13-1-2-2021-06" && aws_lb_listener.router.certificate_arn == "arn:aws:acm:us-east-1:111122223333:certificate/of-the-domain"
    error_message = "TLS 1.2 at least, with the certificate of the domain."
  }
}

run "a_certificate_may_be_named" {
  command = apply
  variables { router = merge(var.router, { tls = { certificate_arn = "arn:aws:acm:us-east-1:111122223333:certificate/named" } }) }

  assert {
    condition     = aws_lb_listener.router.certificate_arn == "arn:aws:acm:us-east-1:111122223333:certificate/named" && length(data.aws_acm_certificate.domain) == 0
    error_message = "The named certificate, without a look-up."
  }
}

run "the_emulator_may_serve_http" {
  command = apply
  variables {
    emulated = true
    router   = merge(var.router, { tls = null, listener_port = 8080, count = 1 })
  }

  assert {
    condition     = aws_lb_listener.router.protocol == "HTTP" && output.url == "http://lb.example.com:8080" && aws_secretsmanager_secret.api_keys.recovery_window_in_days == 0
    error_message = "Plain HTTP, and a secret that goes at once."
  }
}

run "the_environment_local_may_serve_http_without_keys" {
  command = plan
  variables {
    environment = "local"
    router      = merge(var.router, { tls = null, document = "{\"environment\": \"local\", \"listen\": {\"port\": 8000, \"admin_port\": 8001}}" })
  }

  assert {
    condition     = aws_lb_listener.router.protocol == "HTTP"
    error_message = "local serves HTTP."
  }
}

run "an_open_stream_outlives_its_router" {
  command = apply

  assert {
    condition     = aws_lb.router.idle_timeout == 600 && aws_lb_target_group.router.deregistration_delay == "120"
    error_message = "A long first token and open streams have time."
  }

  assert {
    condition     = aws_lb_target_group.router.health_check[0].path == "/health" && aws_lb_target_group.router.health_check[0].interval == 5 && aws_lb_target_group.router.health_check[0].unhealthy_threshold == 2
    error_message = "A router that drains is out of the load balancer within ten seconds."
  }

  assert {
    condition     = aws_autoscaling_group.routers.health_check_type == "EC2"
    error_message = "A router without workers is not replaced."
  }
}

run "routers_are_spread_over_zones" {
  command = apply

  assert {
    condition     = aws_autoscaling_group.routers.min_size == 2 && aws_autoscaling_group.routers.desired_capacity == 2 && aws_autoscaling_group.routers.max_size == 4 && length(aws_autoscaling_group.routers.vpc_zone_identifier) == 2
    error_message = "Two in two zones, with room for their successors."
  }

  assert {
    condition     = aws_autoscaling_group.routers.target_group_arns == toset([aws_lb_target_group.router.arn]) && aws_autoscaling_group.routers.wait_for_capacity_timeout == "0"
    error_message = "Behind the load balancer; Terraform does not wait for them."
  }

  assert {
    condition     = aws_lb.router.subnets == toset(["subnet-00000000000000003", "subnet-00000000000000004"]) && !aws_lb.router.internal
    error_message = "A public load balancer lies in the public subnets."
  }
}

run "an_internal_load_balancer_lies_in_private_subnets" {
  command = apply
  variables { router = merge(var.router, { internal = true }) }

  assert {
    condition     = aws_lb.router.internal && aws_lb.router.subnets == toset(["subnet-00000000000000001", "subnet-00000000000000002"])
    error_message = "Private subnets only."
  }
}

run "the_admin_port_is_closed_to_the_load_balancer" {
  command = apply

  assert {
    condition     = { for cidr, rule in aws_vpc_security_group_ingress_rule.admin : cidr => [rule.from_port, rule.to_port] } == { "10.0.0.0/8" = [8001, 8001] }
    error_message = "Operators' ranges only."
  }

  assert {
    condition     = aws_vpc_security_group_ingress_rule.load_balancer.from_port == 8000 && aws_vpc_security_group_ingress_rule.load_balancer.to_port == 8000 && aws_vpc_security_group_egress_rule.to_routers.from_port == 8000 && aws_vpc_security_group_egress_rule.to_routers.to_port == 8000
    error_message = "The load balancer reaches the data port and nothing else."
  }

  assert {
    condition     = keys(aws_vpc_security_group_ingress_rule.clients) == ["203.0.113.0/24"] && aws_vpc_security_group_ingress_rule.clients["203.0.113.0/24"].from_port == 443 && aws_vpc_security_group_ingress_rule.clients["203.0.113.0/24"].to_port == 443
    error_message = "Clients reach the listener from allowed_cidrs only."
  }
}

run "routers_reach_each_others_data_port" {
  command = apply

  assert {
    condition     = aws_vpc_security_group_ingress_rule.peers.security_group_id == aws_security_group.routers.id && aws_vpc_security_group_ingress_rule.peers.referenced_security_group_id == aws_security_group.routers.id && aws_vpc_security_group_ingress_rule.peers.from_port == 8000 && aws_vpc_security_group_ingress_rule.peers.to_port == 8000
    error_message = "From the routers' own group, to the data port and nothing else."
  }
}

run "without_admin_ranges_nobody_reaches_the_admin_port" {
  command = plan
  variables { router = merge(var.router, { admin_cidrs = [] }) }

  assert {
    condition     = length(aws_vpc_security_group_ingress_rule.admin) == 0
    error_message = "No rule."
  }
}

run "instances_take_only_imdsv2_and_encrypted_disks" {
  command = apply

  assert {
    condition     = aws_launch_template.routers.metadata_options[0].http_tokens == "required" && aws_launch_template.routers.metadata_options[0].http_put_response_hop_limit == 1 && aws_launch_template.routers.metadata_options[0].instance_metadata_tags == "enabled"
    error_message = "Instance metadata needs a token and holds the tags."
  }

  assert {
    condition     = aws_launch_template.routers.block_device_mappings[0].ebs[0].encrypted == "true" && aws_launch_template.routers.block_device_mappings[0].ebs[0].volume_type == "gp3"
    error_message = "Encrypted gp3."
  }

  assert {
    condition     = yamldecode(base64decode(aws_launch_template.routers.user_data)) == { environment = "prod", release = "2026.11.1" }
    error_message = "User data names environment and release, nothing else."
  }

  assert {
    condition     = !one([for tag in aws_autoscaling_group.routers.tag : tag.propagate_at_launch if tag.key == "sglctl:release"]) && one([for tag in aws_autoscaling_group.routers.tag : tag.value if tag.key == "sglctl:role"]) == "router"
    error_message = "The group carries the role, and leaves the instances' release alone."
  }

  assert {
    condition     = alltrue([for specification in aws_launch_template.routers.tag_specifications : specification.tags["sglctl:release"] == "2026.11.1" && specification.tags["sglctl:role"] == "router" && specification.tags["team"] == "ml"])
    error_message = "The template tags instances and volumes."
  }
}

run "an_external_api_has_a_secret_that_routers_read" {
  command = apply

  variables {
    router = merge(var.router, {
      externals = ["hosted"]
      document  = "{\"environment\": \"prod\", \"listen\": {\"port\": 8000, \"admin_port\": 8001}, \"keys\": {\"secret\": \"sglctl/prod/api-keys\"}, \"externals\": {\"hosted\": {}}}"
    })
  }

  override_resource {
    target = aws_secretsmanager_secret.externals["hosted"]
    values = { arn = "arn:aws:secretsmanager:us-east-1:111122223333:secret:sglctl/prod/external/hosted-abcdef" }
  }

  assert {
    condition     = aws_secretsmanager_secret.externals["hosted"].name == "sglctl/prod/external/hosted"
    error_message = "The secret is called sglctl/<env>/external/<name>."
  }

  assert {
    condition     = contains(one([for statement in data.aws_iam_policy_document.router.statement : statement.resources if statement.sid == "OwnKeys"]), aws_secretsmanager_secret.externals["hosted"].arn)
    error_message = "The routers read the external's key."
  }
}

run "an_external_without_a_document_is_refused" {
  command         = plan
  expect_failures = [var.router]

  variables {
    router = merge(var.router, { externals = ["hosted"] })
  }
}

run "a_router_may_do_little" {
  command = apply

  assert {
    condition     = toset(one([for statement in data.aws_iam_policy_document.router.statement : statement.resources if statement.sid == "OwnKeys"])) == toset([aws_secretsmanager_secret.api_keys.arn, aws_secretsmanager_secret.admin_key.arn])
    error_message = "It reads its own keys: the clients' and the operators'."
  }

  assert {
    condition     = one([for statement in data.aws_iam_policy_document.router.statement : one(statement.resources) if statement.sid == "OwnDocument"]) == "arn:aws:ssm:us-east-1:111122223333:parameter/sglctl/prod/router"
    error_message = "It reads its own document."
  }

  assert {
    condition     = one([for statement in data.aws_iam_policy_document.router.statement : one([for condition in statement.condition : "${condition.test} ${condition.variable} ${join(",", condition.values)}"]) if statement.sid == "Metrics"]) == "StringEquals cloudwatch:namespace sglctl"
    error_message = "It writes metrics in one namespace."
  }

  assert {
    condition     = toset([for statement in data.aws_iam_policy_document.router.statement : statement.sid if contains(statement.resources, "*")]) == toset(["FindWorkers", "ManagedInstance", "Metrics"])
    error_message = "Only what has no resource-level permissions is allowed on everything."
  }
}
