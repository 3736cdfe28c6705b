"""Planning tasks: sequences whose answer is known, so that accuracy says whether a model plans.

One file a task; each is registered (`deepsight.plug_ins.tasks`), and `--plugin` adds more.
"""
