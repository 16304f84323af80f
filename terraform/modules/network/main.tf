data "aws_availability_zones" "usable" {
  state = "available"

  # Leaves out Local Zones and Wavelength Zones, which have neither NAT gateways nor all instance types.
  filter {
    name   = "opt-in-status"
    values = ["opt-in-not-required"]
  }

  lifecycle {
    postcondition {
      condition     = var.network.existing != null || length(self.names) >= var.network.availability_zones
      error_message = "Region ${var.region} offers ${length(self.names)} availability zones to this account, fewer than network.availability_zones = ${var.network.availability_zones}."
    }
  }
}

locals {
  name = "sgl-${var.environment}"
  new  = var.network.existing == null

  # Zone name -> its place in the address plan. The place never depends on the number of zones,
  # so that adding a zone moves no subnet.
  zones = local.new ? {
    for place, zone in slice(sort(data.aws_availability_zones.usable.names), 0, min(var.network.availability_zones, length(data.aws_availability_zones.usable.names))) : zone => place
  } : {}

  # Private subnets take an eighth of the range each (six at most), public ones a 64th of the last quarter.
  private_cidrs = { for zone, place in local.zones : zone => cidrsubnet(var.network.cidr, 3, place) }
  public_cidrs  = { for zone, place in local.zones : zone => cidrsubnet(var.network.cidr, 6, 48 + place) }

  # Zone whose NAT gateway a private subnet uses; a zone that is absent has no way out.
  first_zone = try(sort(keys(local.zones))[0], null)
  nat_zones  = var.network.nat == "per_zone" ? toset(keys(local.zones)) : var.network.nat == "single" && local.new ? toset([local.first_zone]) : toset([])
}
