# Apart from the templates because Packer before 1.7 does not know the block:
# `packer init packer/plugins.pkr.hcl` once, then build a template by its file name.
packer {
  required_version = ">= 1.9.0"

  required_plugins {
    amazon = {
      source  = "github.com/hashicorp/amazon"
      version = "~> 1.3"
    }
    ansible = {
      source  = "github.com/hashicorp/ansible"
      version = "~> 1.1"
    }
  }
}
