"""Pure array primitives; nothing here knows what a batch is."""
