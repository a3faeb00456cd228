"""One module per verb of the command line.

`main(arguments)` serves a verb about a ledger, `of_grid(plan, names, launch, console)` one about the grid that a
command's overrides name; both return the exit code.
"""
