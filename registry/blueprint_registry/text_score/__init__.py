"""How near written texts come to those they should have been, one file each."""
