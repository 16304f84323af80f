data "aws_iam_policy_document" "ec2_may_assume" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["ec2.amazonaws.com"]
    }
  }
}

resource "aws_iam_role" "worker" {
  name               = "${local.prefix}-worker"
  description        = "What workers of fleet ${var.name} may do."
  assume_role_policy = data.aws_iam_policy_document.ec2_may_assume.json
}

resource "aws_iam_role_policy" "worker" {
  name   = "worker"
  role   = aws_iam_role.worker.id
  policy = data.aws_iam_policy_document.worker.json
}

resource "aws_iam_instance_profile" "worker" {
  name = "${local.prefix}-worker"
  role = aws_iam_role.worker.name
}

# Resource types and condition keys of each action:
# https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonec2autoscaling.html
data "aws_iam_policy_document" "worker" {
  statement {
    sid = "OwnLifecycleActions"
    actions = [
      "autoscaling:CompleteLifecycleAction",
      "autoscaling:RecordLifecycleActionHeartbeat",
      "autoscaling:SetInstanceHealth",
    ]
    resources = [
      for name in values(local.names) :
      "arn:${var.partition}:autoscaling:${var.region}:${var.account_id}:autoScalingGroup:*:autoScalingGroupName/${name}"
    ]

    condition {
      test     = "StringEquals"
      variable = "aws:ResourceTag/sglctl:environment"
      values   = [var.environment]
    }
  }

  # Has no resource-level permissions; it reveals the life cycle of instances, nothing else.
  statement {
    sid       = "OwnLifecycleState"
    actions   = ["autoscaling:DescribeAutoScalingInstances"]
    resources = ["*"]
  }

  statement {
    sid       = "OwnDocument"
    actions   = ["ssm:GetParameter"]
    resources = ["arn:${var.partition}:ssm:${var.region}:${var.account_id}:parameter/sglctl/${var.environment}/fleets/${var.name}/worker"]
  }

  statement {
    sid       = "Logs"
    actions   = ["logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"]
    resources = ["${var.log_group_arn}:*"]
  }

  statement {
    sid       = "OwnWeights"
    actions   = ["s3:GetObject"]
    resources = ["${var.model_bucket_arn}/${var.fleet.model}/*"]
  }

  statement {
    sid       = "ListOwnWeights"
    actions   = ["s3:ListBucket"]
    resources = [var.model_bucket_arn]

    condition {
      test     = "StringLike"
      variable = "s3:prefix"
      values   = ["${var.fleet.model}/*"]
    }
  }

  # Run Command and Session Manager. Not AmazonSSMManagedInstanceCore, which also reads every parameter.
  # https://docs.aws.amazon.com/systems-manager/latest/userguide/systems-manager-setting-up-messageAPIs.html
  statement {
    sid = "ManagedInstance"
    actions = [
      "ec2messages:AcknowledgeMessage", "ec2messages:DeleteMessage", "ec2messages:FailMessage",
      "ec2messages:GetEndpoint", "ec2messages:GetMessages", "ec2messages:SendReply",
      "ssm:UpdateInstanceInformation",
      "ssmmessages:CreateControlChannel", "ssmmessages:CreateDataChannel",
      "ssmmessages:OpenControlChannel", "ssmmessages:OpenDataChannel",
    ]
    resources = ["*"]
  }
}
