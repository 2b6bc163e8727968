"""What happens beside the training steps: recording, progress, samples of text, saving and stopping."""
