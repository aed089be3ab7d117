#!/bin/sh
# SPDX-License-Identifier: MIT
echo "the unit tests are left out: configure found no Criterion (libcriterion-dev)"
exit 77
