# Bakes a worker: -only=amazon-ebs.worker makes an AMI, -only=null.worker provisions the bake host
# that `sglctl image build` launched on this machine and makes an image of afterwards.
# Variables come from `sglctl image build` (or `sglctl config render --kind packer`).

variable "account_id" {
  type        = string
  default     = null
  description = "Account the image is meant for; `sglctl image build` compared it with the credentials'."
}

variable "ansible_command" {
  type        = string
  default     = "ansible-playbook"
  description = "Path of ansible-playbook."
}

variable "ansible_config" {
  type        = string
  description = "Path of ansible.cfg."
}

variable "image" {
  type        = string
  description = "Tag sglctl:image."
}

variable "input_hash" {
  type        = string
  description = "Tag sglctl:input-hash: hash of everything the image is baked from."
}

variable "instance_type" {
  type        = string
  default     = "c7i.xlarge"
  description = "Where the bake runs (AWS). It needs no GPU: nothing is executed on one."
}

variable "manifest_file" {
  type        = string
  description = "Where Packer writes the id of what it made."
}

variable "playbook" {
  type        = string
  description = "Path of worker-image.yml."
}

variable "playbook_variables" {
  type        = string
  description = "Path of the JSON file with the playbook's variables."
}

variable "region" {
  type        = string
  default     = "us-east-1"
  description = "Region of the bake (AWS)."
}

variable "release" {
  type        = string
  description = "Tag sglctl:release."
}

variable "root_volume_gb" {
  type        = number
  default     = 120
  description = "Size of the root volume; weights and engine must fit (AWS)."
}

variable "source_image_name" {
  type        = string
  default     = ""
  description = "Exact name of the image to start from (AWS)."
}

variable "source_image_owner" {
  type        = string
  default     = "self"
  description = "Account that owns it, self or amazon (AWS)."
}

variable "ssh_host" {
  type        = string
  default     = "127.0.0.1"
  description = "Address of the bake host (local)."
}

variable "ssh_private_key_file" {
  type        = string
  default     = ""
  description = "Key the bake host was launched with (local)."
}

variable "ssh_username" {
  type        = string
  default     = "ubuntu"
  description = "User of the base image (AWS)."
}

variable "tags" {
  type        = map(string)
  default     = {}
  description = "Further tags."
}

locals {
  tags = merge(var.tags, {
    Name                = "sglctl-${var.image}-${var.release}"
    "sglctl:image"      = var.image
    "sglctl:input-hash" = var.input_hash
    "sglctl:release"    = var.release
    "sglctl:role"       = "worker"
  })
}

source "amazon-ebs" "worker" {
  region          = var.region
  instance_type   = var.instance_type
  ami_name        = "sglctl-${var.image}-${var.release}-${substr(var.input_hash, 0, 12)}"
  ami_description = "sglctl ${var.image}, release ${var.release}"
  ssh_username    = var.ssh_username
  encrypt_boot    = true
  tags            = local.tags
  run_tags        = local.tags
  run_volume_tags = local.tags
  snapshot_tags   = local.tags

  source_ami_filter {
    filters = {
      name                = var.source_image_name
      architecture        = "x86_64"
      root-device-type    = "ebs"
      virtualization-type = "hvm"
    }
    owners = [var.source_image_owner]
  }

  launch_block_device_mappings {
    device_name           = "/dev/sda1"
    volume_size           = var.root_volume_gb
    volume_type           = "gp3"
    iops                  = 3000
    throughput            = 250
    encrypted             = true
    delete_on_termination = true
  }
}

source "null" "worker" {
  ssh_host             = var.ssh_host
  ssh_username         = "root"
  ssh_private_key_file = var.ssh_private_key_file
  ssh_timeout          = "2m"
}

build {
  sources = ["source.amazon-ebs.worker", "source.null.worker"]

  # Session tokens only for the bake's instance metadata (launch templates require them of every
  # worker). Not the source's metadata_options: Packer 1.6 does not know that block.
  provisioner "shell-local" {
    only = ["amazon-ebs.worker"]
    inline = [
      "aws ec2 modify-instance-metadata-options --region ${var.region} --instance-id ${build.ID} --http-tokens required --http-endpoint enabled --http-put-response-hop-limit 1 --output text",
    ]
  }

  # The playbook's last role checks for leftovers; where it fails, there is no image.
  provisioner "ansible" {
    playbook_file = var.playbook
    command       = var.ansible_command
    use_proxy     = false
    extra_arguments = [
      "--extra-vars", "@${var.playbook_variables}",
      "--ssh-common-args", "-o UserKnownHostsFile=/dev/null -o IdentitiesOnly=yes -o ControlMaster=auto -o ControlPersist=60s",
    ]
    ansible_env_vars = [
      "ANSIBLE_CONFIG=${var.ansible_config}",
      "ANSIBLE_HOST_KEY_CHECKING=False",
      "ANSIBLE_NOCOLOR=True",
    ]
  }

  post-processor "manifest" {
    output     = var.manifest_file
    strip_path = true
  }
}
