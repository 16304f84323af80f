resource "aws_lb" "router" {
  name                       = local.name
  load_balancer_type         = "application"
  internal                   = var.router.internal
  subnets                    = var.router.internal ? var.private_subnet_ids : var.public_subnet_ids
  security_groups            = [aws_security_group.load_balancer.id]
  idle_timeout               = var.router.idle_timeout_s # the default of 60 s cuts a long wait for the first token
  drop_invalid_header_fields = true
}

resource "aws_lb_target_group" "router" {
  name                          = local.name
  port                          = var.router.port
  protocol                      = "HTTP"
  target_type                   = "instance"
  vpc_id                        = var.vpc_id
  deregistration_delay          = var.router.deregistration_delay_s # streams that are open finish
  load_balancing_algorithm_type = "least_outstanding_requests"      # streams last from seconds to minutes

  health_check {
    path                = "/health"
    protocol            = "HTTP"
    matcher             = "200"
    interval            = 5
    timeout             = 3
    healthy_threshold   = 2
    unhealthy_threshold = 2
  }
}

# One listener. Nothing on port 80, not even a redirect: a client that is set to HTTP has then sent its key in clear.
resource "aws_lb_listener" "router" {
  load_balancer_arn = aws_lb.router.arn
  port              = var.router.listener_port
  protocol          = var.router.tls == null ? "HTTP" : "HTTPS"
  certificate_arn   = local.certificate_arn
  ssl_policy        = var.router.tls == null ? null : "ELBSecurityPolicy-TLS13-1-2-2021-06"

  default_action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.router.arn
  }
}
