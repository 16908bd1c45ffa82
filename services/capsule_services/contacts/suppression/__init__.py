"""Letting in again who was erased, by their own new consent."""
