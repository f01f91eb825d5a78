#!/bin/bash
# Run one node of the package: perception, microphone, media_player, ...; what follows goes to the node.
set -eo pipefail
node=${1:?name a node: perception, microphone, media_player}
shift
# shellcheck disable=SC1091
source /opt/emollama/install/setup.bash
exec /opt/emollama/.venv/bin/python -m "emollama_ros.nodes.${node}_node" --ros-args --disable-external-lib-logs "$@"
