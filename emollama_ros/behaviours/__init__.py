"""Three small behaviours and a condition for behaviour trees: to run, and to copy from.

Each module is whole: at its top the rules, which take states and say what to do; below them the node that
hears states and publishes what the rules say. docs/behaviours.md says what each does and does not.
"""
