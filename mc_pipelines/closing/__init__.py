"""The life of a close after its attempts: who may be billed, who approved it, what is locked. States are folded from the journal, never stored."""
