"""The learning methods: what each asks of one and the same network, a small module each."""
