"""How good a model is: held-out questions, tools and schemas, asked through the product's own engine."""
