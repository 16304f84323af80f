data "aws_iam_policy_document" "ec2_may_assume" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["ec2.amazonaws.com"]
    }
  }
}

resource "aws_iam_role" "router" {
  name               = local.name
  description        = "What routers of environment ${var.environment} may do."
  assume_role_policy = data.aws_iam_policy_document.ec2_may_assume.json
}

resource "aws_iam_role_policy" "router" {
  name   = "router"
  role   = aws_iam_role.router.id
  policy = data.aws_iam_policy_document.router.json
}

resource "aws_iam_instance_profile" "router" {
  name = local.name
  role = aws_iam_role.router.name
}

data "aws_iam_policy_document" "router" {
  statement {
    sid       = "OwnDocument"
    actions   = ["ssm:GetParameter"]
    resources = ["arn:${var.partition}:ssm:${var.region}:${var.account_id}:parameter/sglctl/${var.environment}/router"]
  }

  statement {
    sid       = "OwnKeys"
    actions   = ["secretsmanager:GetSecretValue"]
    resources = concat([aws_secretsmanager_secret.api_keys.arn, aws_secretsmanager_secret.admin_key.arn], [for secret in aws_secretsmanager_secret.externals : secret.arn])
  }

  # Has no resource-level permissions.
  statement {
    sid       = "FindWorkers"
    actions   = ["ec2:DescribeInstances"]
    resources = ["*"]

    condition {
      test     = "StringEquals"
      variable = "ec2:Region"
      values   = [var.region]
    }
  }

  # https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/iam-cw-condition-keys-namespace.html
  statement {
    sid       = "Metrics"
    actions   = ["cloudwatch:PutMetricData"]
    resources = ["*"]

    condition {
      test     = "StringEquals"
      variable = "cloudwatch:namespace"
      values   = ["sglctl"]
    }
  }

  statement {
    sid       = "Logs"
    actions   = ["logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"]
    resources = ["${var.log_group_arn}:*"]
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
