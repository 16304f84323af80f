data "aws_ami" "worker" {
  include_deprecated = true # a rollback needs an old image

  filter {
    name   = "image-id"
    values = [var.fleet.image_id]
  }

  lifecycle {
    postcondition {
      condition     = self.root_device_type == "ebs"
      error_message = "Image ${var.fleet.image_id} has no EBS root; workers need one (encrypted, and able to stop)."
    }
  }
}
