data "aws_ami" "router" {
  include_deprecated = true # a rollback needs an old image

  filter {
    name   = "image-id"
    values = [var.router.image_id]
  }

  lifecycle {
    postcondition {
      condition     = self.root_device_type == "ebs"
      error_message = "Image ${var.router.image_id} has no EBS root; routers need one (encrypted)."
    }
  }
}
