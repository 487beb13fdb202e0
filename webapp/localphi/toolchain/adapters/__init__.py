"""LoRA adapters: from what PEFT saves to what the server takes, and trained here."""
