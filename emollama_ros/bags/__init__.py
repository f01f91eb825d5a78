"""Recordings of what the robot perceived: written, perceived once more, compared. Nothing in here needs ROS.

    definitions   our messages for the library that reads and writes bags
    reading       a bag as messages in the order they arrived, also one whose recorder was killed
    unfinished    an MCAP file whose recorder was killed
    writing       a bag that `ros2 bag` reads, and that is readable up to its last second at any time
    contents      which topic is whose camera, microphone, words and results
    told          what a bag says was perceived
    schedule      which windows the robot perceived, and when
    settled       how the node was set at each moment, and what is asked for instead
    replay        perceiving a bag, by the code of the node
    results       what was perceived, as the messages of the node
    comparing     two runs of the same windows, and what is different

Recording needs a running graph, so it is in ``nodes.recorder``.
"""
