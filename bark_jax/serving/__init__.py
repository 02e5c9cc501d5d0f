"""An HTTP endpoint for a model: `bark-jax serve`, or `serving.app.create_app` in a server of your own."""
