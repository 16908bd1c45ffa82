"""Letting in again who was erased as a user, by their own new consent."""
