resource "aws_launch_template" "routers" {
  name                   = local.name
  description            = "Routers of environment ${var.environment}; a new version reaches instances only by a rollout."
  image_id               = var.router.image_id
  instance_type          = var.router.instance_type
  vpc_security_group_ids = [aws_security_group.routers.id]
  update_default_version = true

  # Read by the router and nothing else: no secrets, no scripts.
  user_data = base64encode(<<-EOT
    environment: ${var.environment}
    release: "${var.release}"
  EOT
  )

  block_device_mappings {
    device_name = data.aws_ami.router.root_device_name

    ebs {
      delete_on_termination = true
      encrypted             = true
      volume_size           = var.router.root_volume_gb
      volume_type           = "gp3"
    }
  }

  iam_instance_profile {
    arn = aws_iam_instance_profile.router.arn
  }

  metadata_options {
    http_endpoint               = "enabled"
    http_put_response_hop_limit = 1
    http_tokens                 = "required"
    instance_metadata_tags      = "enabled"
  }

  monitoring {
    enabled = true
  }

  dynamic "tag_specifications" {
    for_each = toset(["instance", "volume"])

    content {
      resource_type = tag_specifications.key
      tags          = merge(local.lasting_tags, { Name = local.name, "sglctl:release" = var.release })
    }
  }

  tags = merge(local.lasting_tags, { Name = local.name }) # each version names its release in its own tags
}
