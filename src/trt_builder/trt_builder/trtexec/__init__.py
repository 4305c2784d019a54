# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Lines of trtexec: written from settings, and read into settings."""
