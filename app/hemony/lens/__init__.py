"""What is to be seen inside a network: gradients that are proved, costs that are counted, features that grow."""
