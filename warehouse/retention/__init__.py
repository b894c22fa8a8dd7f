"""How long what is kept where, and the moving and removing that follows: classes, plan, doer, receipts, holds, undo."""
