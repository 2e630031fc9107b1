"""The HTTP door: routes, requests, and the dashboard's page."""
