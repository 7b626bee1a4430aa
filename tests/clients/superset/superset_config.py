"""Superset's configuration for the tests: its own database in a file, no cross-site and content policies in the way."""

import os

SECRET_KEY = "a key for tests, and only for these: 0123456789"
SQLALCHEMY_DATABASE_URI = "sqlite:///" + os.environ["AURIC_TEST_SUPERSET_DATABASE"]
WTF_CSRF_ENABLED = False
TALISMAN_ENABLED = False
RATELIMIT_ENABLED = False
FEATURE_FLAGS = {"ESTIMATE_QUERY_COST": True}
SQLLAB_CTAS_NO_LIMIT = True
