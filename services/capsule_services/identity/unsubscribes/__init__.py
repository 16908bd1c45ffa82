"""Who wants no marketing mail from whoever runs the deployment."""
