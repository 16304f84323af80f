locals {
  account_id = data.aws_caller_identity.current.account_id
  partition  = data.aws_partition.current.partition
}

module "network" {
  source = "../modules/network"

  emulated    = var.emulated
  environment = var.environment
  network     = var.network
  region      = var.region
}

module "model_store" {
  source = "../modules/model_store"

  account_id  = local.account_id
  emulated    = var.emulated
  environment = var.environment
  partition   = local.partition
  region      = var.region
}

module "router" {
  source = "../modules/router"

  account_id         = local.account_id
  emulated           = var.emulated
  environment        = var.environment
  log_group_arn      = module.observability.log_group_arns["router"]
  partition          = local.partition
  private_subnet_ids = module.network.private_subnet_ids
  public_subnet_ids  = module.network.public_subnet_ids
  region             = var.region
  release            = var.release
  router             = var.router
  tags               = var.tags
  vpc_id             = module.network.vpc_id
}

module "worker_fleet" {
  source   = "../modules/worker_fleet"
  for_each = var.fleets

  account_id               = local.account_id
  environment              = var.environment
  fleet                    = each.value
  log_group_arn            = module.observability.log_group_arns["worker"]
  model_bucket_arn         = module.model_store.arn
  name                     = each.key
  partition                = local.partition
  region                   = var.region
  release                  = var.release
  router_security_group_id = module.router.security_group_id
  subnet_ids               = module.network.private_subnet_ids
  tags                     = var.tags
  vpc_id                   = module.network.vpc_id
}

module "worker_pair" {
  source   = "../modules/worker_pair"
  for_each = { for name, fleet in var.fleets : name => fleet.prefill_for if fleet.prefill_for != null }

  decode_security_group_id  = module.worker_fleet[each.value].security_group_id
  prefill_security_group_id = module.worker_fleet[each.key].security_group_id
}

module "observability" {
  source = "../modules/observability"

  environment = var.environment
  # Routers report a pair by its decode fleet.
  fleets        = { for name, fleet in var.fleets : name => { min = try(fleet.groups.on_demand.min, 0) + try(fleet.groups.spot.min, 0) } if fleet.prefill_for == null }
  load_balancer = module.router.load_balancer
  observability = var.observability
  region        = var.region
}
