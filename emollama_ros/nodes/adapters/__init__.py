"""What drivers send, to plain values: one adapter a message type, and the choice among them.

    samples   bytes of sound to numbers (no ROS)
    sound     messages of microphones to a ``Chunk``
    words     messages of speech recognisers to ``Words``
    choice    which adapter fits what is published, and what to say when none does

An adapter is data and one function. Nothing is imported from another package before somebody publishes its
messages, so all of them are optional.
"""
