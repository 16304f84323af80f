"""Scale-out and what happens to streams meanwhile, on container hosts with real SGLang."""
