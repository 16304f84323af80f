locals {
  group_hooks = merge([
    for suffix, _ in local.groups : { for hook, _ in local.hooks : "${suffix}/${hook}" => { group = suffix, hook = hook } }
  ]...)
}

# Same names as the initial hooks, which these take over: a changed timeout reaches groups that exist.
resource "aws_autoscaling_lifecycle_hook" "workers" {
  for_each = local.group_hooks

  name                   = each.value.hook
  autoscaling_group_name = aws_autoscaling_group.workers[each.value.group].name
  lifecycle_transition   = local.hooks[each.value.hook].transition
  heartbeat_timeout      = local.hooks[each.value.hook].timeout_s
  default_result         = local.hooks[each.value.hook].default

  lifecycle {
    ignore_changes = [notification_target_arn, role_arn] # agents read their hooks from instance metadata; the emulator invents both
  }
}
