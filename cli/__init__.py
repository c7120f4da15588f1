"""The command line, installed as `wsi_lpd_cli`. Heavy imports happen inside the commands, so `--help` is quick."""
