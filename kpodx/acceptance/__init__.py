"""Acceptance: does a package still reason as well as its student, within what its device can bear?"""
