from blueprint.load.merge import merge as merge
