resource "aws_launch_template" "workers" {
  for_each = local.groups

  name                   = local.names[each.key]
  description            = "Workers of fleet ${var.name}; a new version reaches instances only by a rollout."
  image_id               = var.fleet.image_id
  instance_type          = var.fleet.instance_types[0]
  vpc_security_group_ids = [aws_security_group.workers.id]
  update_default_version = true

  # Read by the agent and nothing else: no secrets, no scripts.
  user_data = base64encode(<<-EOT
    environment: ${var.environment}
    fleet: ${var.name}
    release: "${var.release}"
  EOT
  )

  block_device_mappings {
    device_name = data.aws_ami.worker.root_device_name

    ebs {
      delete_on_termination = true
      encrypted             = true
      iops                  = var.fleet.root_volume.iops
      throughput            = var.fleet.root_volume.throughput_mbps
      volume_size           = var.fleet.root_volume.size_gb
      volume_type           = "gp3"
    }
  }

  iam_instance_profile {
    arn = aws_iam_instance_profile.worker.arn
  }

  # Tags in metadata tell the agent its group; one hop keeps containers on the host out.
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
      tags          = merge(local.lasting_tags, { Name = local.names[each.key], "sglctl:release" = var.release })
    }
  }

  tags = merge(local.lasting_tags, { Name = local.names[each.key] }) # each version names its release in its own tags
}
