"""From a trained model and videos to scores, alarms and what they are made of; offline and as
frames come."""
