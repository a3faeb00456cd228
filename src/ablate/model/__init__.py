"""Language models of the CodeGen and Llama families, and the attention masks that they honour."""
